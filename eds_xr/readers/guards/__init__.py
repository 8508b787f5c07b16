"""Guards against files that are damaged, too large or made to harm."""
