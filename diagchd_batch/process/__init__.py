"""What concerns this operating-system process: signals, the output of native libraries, and temporary files."""
