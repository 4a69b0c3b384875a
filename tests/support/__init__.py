"""Fixtures, fakes and fault injection that tests share."""
