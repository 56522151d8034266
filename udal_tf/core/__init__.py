"""Pure maths of the paper and of CReST: numbers and tensors in, tensors out."""
