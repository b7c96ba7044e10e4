import XenStream

extension SampleStream {
    /// The stream's bytes, one element a checkpoint: each ends with CHECKPOINT_END.
    var epochs: [[UInt8]] {
        var result: [[UInt8]] = [[]]
        for piece in pieces() {
            result[result.count - 1] += piece
            if Array(piece) == [4, 0, 0, 0, 0, 0, 0, 0] { result.append([]) }
        }
        return result.filter { !$0.isEmpty }
    }
}
