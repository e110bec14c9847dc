"""Pure functions of tensors, each fast form beside its literal one."""
