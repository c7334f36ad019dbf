"""Every statement of the store, in SQLAlchemy Core; the words after `_` name what is to be filled in."""

from sqlalchemy import BigInteger, Text, and_, bindparam, delete, func, literal, or_, select, union_all, update
from sqlalchemy.dialects.postgresql import insert  # SQLite writes its ON CONFLICT in the same words
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause

from provisioning.collector.tables import epoch, gap, reach, record, sender, stream

KEY, PACK, GAP, ODD = 0, 1, 2, 3  # kinds of records: key, readings, gap, opened but not understood
OPERATOR = b""  # the sender of gaps that an operator accepted
PAGE = 500  # records read at a time


def _n(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger)


def _t(name: str) -> ColumnElement[str]:
    return bindparam(name, type_=Text)


def _at(table: FromClause) -> ColumnElement[bool]:
    return and_(table.c.stream == _n("at_stream"), table.c.boot == _n("at_boot"))


_named = and_(or_(stream.c.device == _t("device"), _t("device") == ""),
              or_(stream.c.purpose == _t("purpose"), _t("purpose") == ""))  # fmt: skip
_old = and_(record.c.received < _n("before"), record.c.kind.in_([literal(PACK), literal(ODD)]))

FIND_STREAM = select(stream.c.id).where(stream.c.device == _t("device"), stream.c.purpose == _t("purpose"))
ADD_STREAM = insert(stream).values(device=_t("device"), purpose=_t("purpose")).on_conflict_do_nothing()
ADD = (
    insert(record)
    .values(**{name: bindparam(name) for name in ("stream", "boot", "seq", "epoch", "kind", "received", "body")})
    .on_conflict_do_nothing()
)
BODY = select(record.c.body).where(_at(record), record.c.seq == _n("seq"))
ADD_EPOCH = insert(epoch).values(**{c.name: bindparam(c.name) for c in epoch.c}).on_conflict_do_nothing()
WRAPPED = select(epoch.c.wrapped).where(_at(epoch), epoch.c.epoch == _n("at_epoch"))
NEWEST = select(func.max(epoch.c.epoch)).where(_at(epoch))
BIND = insert(sender).values(**{c.name: bindparam(c.name) for c in sender.c}).on_conflict_do_nothing()
SENDER = select(sender.c.mark).where(_at(sender))

_their_gap = and_(_at(gap), gap.c.mark == bindparam("at_mark"))
COVERED = select(literal(1)).where(_their_gap, gap.c.first <= _n("begins"), gap.c.last >= _n("ends"))
SWALLOW = delete(gap).where(_their_gap, gap.c.first >= _n("begins"), gap.c.last <= _n("ends"))
ADD_GAP = insert(gap).values(**{c.name: bindparam(c.name) for c in gap.c}).on_conflict_do_nothing()

REACH = select(reach.c.seq).where(_at(reach))
_reach = insert(reach).values(**{c.name: bindparam(c.name) for c in reach.c})
SET_REACH = _reach.on_conflict_do_update(
    index_elements=[reach.c.stream, reach.c.boot], set_={"seq": _reach.excluded.seq}
)
OVER_GAPS = select(func.max(gap.c.last)).where(
    _at(gap),
    gap.c.first <= _n("reach") + 1,
    gap.c.last > _n("reach"),
    gap.c.mark.in_([bindparam("at_mark"), literal(OPERATOR)]),
)
BEYOND = select(record.c.seq).where(_at(record), record.c.seq > _n("reach")).order_by(record.c.seq).limit(PAGE)

_whole = select(
    record.c.id,
    stream.c.device,
    stream.c.purpose,
    *(record.c[name] for name in ("boot", "seq", "epoch", "kind", "received", "body")),
).join_from(record, stream, stream.c.id == record.c.stream)
ALL_RECORDS = _whole.where(record.c.id > _n("after")).order_by(record.c.id).limit(PAGE)
RECORDS = _whole.where(record.c.id > _n("after"), record.c.kind == _n("kind")).order_by(record.c.id).limit(PAGE)
LAST = select(func.max(record.c.id)).where(record.c.kind == literal(PACK))
GAPS = (
    select(stream.c.device, stream.c.purpose, gap.c.boot, gap.c.first, gap.c.last, gap.c.count)
    .join_from(gap, stream, stream.c.id == gap.c.stream)
    .order_by(stream.c.device, stream.c.purpose, gap.c.boot, gap.c.first, gap.c.last)
)
_claims = (
    select(func.sum(gap.c.last - gap.c.first + 1).label("claim"))
    .where(_at(gap), gap.c.last < _n("most"))
    .group_by(gap.c.mark)
    .subquery("claims")
)
CLAIMED = select(func.coalesce(func.max(_claims.c.claim), 0))
_known = union_all(
    select(record.c.seq.label("seq")).where(_at(record)),
    select(gap.c.last.label("seq")).where(_at(gap), gap.c.last < _n("most")),
).subquery("known")
KNOWN = select(func.max(_known.c.seq))
KEPT = select(func.count()).select_from(record).where(_at(record), record.c.seq <= _n("ends"))
_reached = func.coalesce(func.max(reach.c.seq), 0)
HOLES = (
    select(stream.c.device, stream.c.purpose, record.c.boot, _reached + 1, func.min(record.c.seq))
    .join_from(record, stream, stream.c.id == record.c.stream)
    .outerjoin(reach, and_(reach.c.stream == record.c.stream, reach.c.boot == record.c.boot))
    .where(record.c.seq > func.coalesce(reach.c.seq, 0))
    .group_by(record.c.stream, record.c.boot, stream.c.device, stream.c.purpose)
    .order_by(stream.c.device, stream.c.purpose, record.c.boot)
)
FORGET = (
    update(record)
    .values(body=literal(b""), kind=literal(GAP))
    .where(_old, record.c.stream.in_(select(stream.c.id).where(_named)))
)
OVER = select(func.count()).select_from(record).join(stream, stream.c.id == record.c.stream).where(_old, _named)
