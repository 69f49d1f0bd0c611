"""What runs on the other side of the fork: the zygote, and the child that is confined and then runs the program.

Plain standard library and fast to import; it reaches no other room, and nothing here knows an expected output.
"""
