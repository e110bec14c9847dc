"""What tests stand on: tiny corpora, hypothesis strategies, and the contract every model keeps."""
