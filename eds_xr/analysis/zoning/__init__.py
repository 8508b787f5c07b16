"""Zoning: phases whose composition changes from place to place."""
