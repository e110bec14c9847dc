"""The blocked form, plain PyTorch: ``form`` has its functions, one module a branch has the arithmetic."""
