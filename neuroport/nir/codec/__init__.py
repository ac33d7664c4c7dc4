"""NIR's HDF5 files as what they hold, and back: nothing lost, nothing trusted, older releases mended.

``hdf5.py`` is the way in (``load`` and ``save``). Reading goes down through ``reading``, ``groups``, ``arrays``,
``texts`` and ``heaps``, each within the ``budget`` that the ``limits`` leave; ``repair`` and ``legacy`` mend what
others wrote; ``writing`` adds the ``marks`` and ``stand_ins`` that let nir read it too. What a node means is not said
here.
"""
