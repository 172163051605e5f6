"""The parts of the fake agent; ../agent.py is the program."""
