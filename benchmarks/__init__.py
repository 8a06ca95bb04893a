"""What IPOP can do, measured: one program for each question, run as `python -m benchmarks.NAME`."""
