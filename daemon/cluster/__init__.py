"""A backfill on many machines, by Ray Data: listed here, classified there, published here.

Needs the extra `ray`: nothing else of classifyd imports this package.
"""
