"""The film that is looked through: how thick it is, by what its composition must fulfil."""
