"""Programs of the simulated device: one module each, the file name is the program's name (`-` and `.` become `_`).

A module has `run(device, argv, stdin) -> Outcome`, and may have
`install(device)`: lay down the package's files, once, when the device is made;
`boot(device)`: what the device does with it at each start (set defaults, start a daemon);
`reload(device, process)`: what its running daemon does when it gets SIGHUP.
"""
