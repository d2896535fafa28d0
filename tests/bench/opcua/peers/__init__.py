"""Other servers: each a program that offers the same Doubles, told apart by COUNT, FOLDERS and the folder of its certificate.

PROGRAM COUNT FOLDERS STATE: node `ns=2;s=v0` and so on; prints `ready URL SECONDS` (since its imports were done), then writes all
of them every 100 ms, the number of the round as the value and the time of the round as the source's, until its input ends.
"""
