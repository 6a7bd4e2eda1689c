"""aiortc's `contrib`, under our name: what a program imports from there, it imports from here."""
