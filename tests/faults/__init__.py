"""What becomes of the target when a job is killed, starved or cheated at any moment: `make faults`."""
