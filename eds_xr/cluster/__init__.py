"""A cluster that works for a public function: supervised, and cleared up."""
