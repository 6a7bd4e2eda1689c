"""Subtests of the web-platform-tests' `webrtc/` folder, re-written for Python under the subtests' names.

One file here for each file there; a test's first line is the subtest's name.
"""
