import CKernels
import Checkpoint
import XenStream

/// A standby for tests: bytes in, in pieces of random size; commits on demand.
final class ImageStandby {
    let memory: ImageMemory
    let image: StandbyImage
    var assembler: EpochAssembler
    private var random: SplitMix
    private var length: UInt64 = 0
    private var checksum: UInt32 = 0

    init(
        _ kind: GuestKind,
        pages: Int,
        seed: UInt64 = 1,
        epochBuffer: Int = 1 << 20,
        memoryLimit: UInt64 = 1 << 40
    ) throws {
        let guest = GuestDescription(
            name: "sample",
            uuid: GuestUUID(high: 1, low: 2),
            kind: kind,
            pageCount: pages,
            address: "",
            config: []
        )
        let process = ProcessIdentity(pid: 1, startTime: 1)
        let hello = Hello(
            guest: guest,
            generation: 1,
            session: 7,
            ackedEpoch: nil,
            imageStillValid: false,
            populatedPages: 0,
            epochCapacity: UInt64(epochBuffer),
            aloneAfter: .seconds(10),
            bootID: "boot",
            host: "a",
            protectProcess: process,
            guestProcess: process
        )
        memory = ImageMemory(pageCount: pages, epochBuffer: epochBuffer)
        image = StandbyImage(
            for: hello,
            meta: memory.meta,
            memory: memory.memory,
            epochBuffer: memory.epochBuffer,
            owner: memory
        )
        assembler = try EpochAssembler(image: image, budgets: ReaderBudgets(), memoryLimit: memoryLimit)
        random = SplitMix(state: seed)
    }

    /// What a later daemon makes of what a guardian kept.
    init(adopting memory: ImageMemory) throws {
        self.memory = memory
        image = try memory.adopt()
        assembler = try EpochAssembler(image: image, budgets: ReaderBudgets(), memoryLimit: 1 << 40)
        random = SplitMix(state: 1)
    }

    /// Takes bytes of `epoch`.
    func receive(_ bytes: some Collection<UInt8>, epoch: UInt64) throws(EpochError) {
        let bytes = Array(bytes)
        var position = 0
        while position < bytes.count {
            let wish = random.next() & 1 == 0 ? 20_000 : 60
            let count = min(bytes.count - position, Int.random(in: 1...wish, using: &random))
            let piece = bytes[position..<position + count]
            try assembler.space(count).copyBytes(from: piece)
            try assembler.received(count, epoch: epoch)
            length += UInt64(count)
            checksum = piece.withUnsafeBytes { SwiftKernels.crc32c(checksum, $0) }
            position += count
        }
    }

    /// Takes an encoded frame's body, which stands for `plain` and may turn out to be something else.
    func receive(encoded body: [UInt8], of plain: UnsafeRawBufferPointer, epoch: UInt64) throws(EpochError) {
        assembler.encodedSpace(body.count).copyBytes(from: body)
        _ = try assembler.receivedEncoded(body.count, epoch: epoch)
        length += UInt64(plain.count)
        checksum = ckernels_crc32c(checksum, plain.baseAddress, plain.count)
    }

    /// The right end of what was received.
    var end: EpochEnd { EpochEnd(length: length, checksum: checksum) }

    func finish(epoch: UInt64) throws(EpochError) -> Int {
        let length = try assembler.finish(end, epoch: epoch)
        restart()
        return length
    }

    /// A new epoch's bytes are counted from 0.
    func restart() {
        length = 0
        checksum = 0
    }

    func rewind() throws {
        restart()
        try assembler.rewind(after: image.epoch ?? 0)
    }

    func seal(_ epoch: UInt64) throws {
        image.seal(epoch, length: try finish(epoch: epoch), at: Instant(nanoseconds: epoch))
    }

    func commit(_ epoch: UInt64) throws {
        try seal(epoch)
        if epoch > 0 { try image.applySealed(epoch) {} }
    }

    func commit(_ bytes: some Collection<UInt8>, epoch: UInt64) throws {
        try receive(bytes, epoch: epoch)
        try commit(epoch)
    }
}

extension SampleStream {
    /// The stream's bytes, one element an epoch, without its end.
    func epochs() -> [[UInt8]] {
        var epochs: [[UInt8]] = [[]]
        for piece in pieces() {
            epochs[epochs.count - 1] += piece
            // CHECKPOINT_END is the only empty record of its type number that follows a CHECKPOINT's layer.
            let isEnd = piece.count == 8 && piece[0] == UInt8(LibxlRecordType.checkpointEnd.rawValue)
            if isEnd { epochs.append([]) }
        }
        return epochs.dropLast()
    }
}
