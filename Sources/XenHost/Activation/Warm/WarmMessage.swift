/// What a standby and the warm helper of a guest say to each other, over a unix socket of the helper's own: 32 bytes of
/// header, then a body. Both are of one version; numbers are the machine's.
package struct WarmMessage: Equatable, Sendable {
    package enum Kind: UInt32, Sendable {
        // From the standby.
        /// Bytes of epoch 0, in the body. No answer.
        case piece = 1
        /// Epoch 0 is whole. Answer: `fed`.
        case whole
        /// Feed epoch `epoch`: the first `value` bytes of the memory file that comes along. Answer: `fed`.
        case feed
        /// Answer: `state`.
        case ask
        /// End the stream, so that the domain is built to its last and stays paused. Answer: `built`.
        case end
        /// Give the domain its own name and let it run. Answer: `running`.
        case run
        /// Destroy the domain and end. Answer: `dropped`.
        case drop

        // From the helper.
        case fed
        /// `epoch` + 1 is fed (0: none), `value` is a `Stage`.
        case state
        case built
        case running
        case dropped
        /// The domain is lost; why, in the body. The helper ends.
        case failed
    }

    /// How far a helper's domain is.
    package enum Stage: UInt64, Sendable {
        case fed, built, running
    }

    static let headerSize = 32
    /// The most bytes of a body.
    static let bodyLimit = 1 << 20

    var kind: Kind
    var length = 0
    var epoch: UInt64 = 0
    /// As the kind says.
    var value: UInt64 = 0

    init(_ kind: Kind, length: Int = 0, epoch: UInt64 = 0, value: UInt64 = 0) {
        self.kind = kind
        self.length = length
        self.epoch = epoch
        self.value = value
    }

    /// The header's bytes.
    var header: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Self.headerSize) { buffer, count in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            bytes.storeBytes(of: UInt64(kind.rawValue), as: UInt64.self)
            bytes.storeBytes(of: UInt64(length), toByteOffset: 8, as: UInt64.self)
            bytes.storeBytes(of: epoch, toByteOffset: 16, as: UInt64.self)
            bytes.storeBytes(of: value, toByteOffset: 24, as: UInt64.self)
            count = Self.headerSize
        }
    }

    /// Reads a header; nil if it is none.
    init?(header: [UInt8]) {
        guard header.count == Self.headerSize else { return nil }
        let words = header.withUnsafeBytes { bytes in
            (0..<4).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
        }
        guard let raw = UInt32(exactly: words[0]), let kind = Kind(rawValue: raw),
            words[1] <= UInt64(Self.bodyLimit)
        else { return nil }
        self.init(kind, length: Int(words[1]), epoch: words[2], value: words[3])
    }
}
