//! What others do: detectors of the field by their published rules, to be compared with.
