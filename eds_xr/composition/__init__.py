"""From net counts to composition, minerals, partition and limits."""
