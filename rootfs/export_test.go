package rootfs

// Alone makes t resolve names by itself, as where the kernel has no openat2.
func Alone(t *Tree) *Tree {
	t.alone.Store(true)
	return t
}
