"""Conformance suites: subclass one in your tests, give it your object, and inherit the laws.

They need pytest, which is no dependency of the package.
"""
