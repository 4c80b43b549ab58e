"""Signs that labels are not what they are taken for: each would train a network on nonsense without an error.

A data set with doubts is read; a run on it stops unless it is told to trust the labels. Real sets of cells stay far
from every limit: on Sartorius, LIVECell, DSB2018 and Usiigaci images at most 2 % of the cells of an image are in
several pieces, and no cell covers more than 8 % of an image.

`masks` counts what is odd about masks alone, `placement` holds masks against their picture, `signs` puts both together
for one image, `summary` for a data set, and `same_pictures` finds pictures that are there twice.
"""
