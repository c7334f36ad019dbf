"""The opener: a recipient on the owner's own machine that opens readings and hands them on in plain text, there."""
