"""The shared vocabulary: equipment, tags, samples, dictionary, frame, seal, proof, topic, message."""
