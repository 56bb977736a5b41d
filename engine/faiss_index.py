"""tmp"""
import numpy as np
from engine.index import ExactIndex
def single_thread(): pass
def build(vectors, folder):
    folder.mkdir(); np.save(folder/"v.npy", vectors)
class FaissIndex(ExactIndex):
    @classmethod
    def open(cls, folder): return cls(np.load(folder/"v.npy"))
    def vector(self,row): return self.vectors[row]
