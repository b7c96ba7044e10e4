import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import XenHost

/// The three memory files of an image, mapped. The guardian holds the same files.
///
/// Unchecked: the mappings never change; what lies in them is `StandbyImage`'s to synchronise.
final class ImageStorage: @unchecked Sendable {
    /// Meta, guest memory, epoch buffer.
    let files: [Descriptor]
    private let mappings: [Mapping]

    private init(_ files: [Descriptor]) throws(SystemError) {
        self.files = files
        var mappings: [Mapping] = []
        for file in files { mappings.append(try Mapping.shared(file, count: try Memfd.size(of: file))) }
        self.mappings = mappings
    }

    var meta: UnsafeMutableRawBufferPointer { mappings[0].bytes }
    var memory: UnsafeMutableRawBufferPointer { mappings[1].bytes }
    var epochBuffer: UnsafeMutableRawBufferPointer { mappings[2].bytes }
    var memoryFile: Descriptor { files[1] }

    /// New, empty storage. Sparse: it costs what is written to it.
    /// - Parameter epochCapacity: the most bytes an epoch may have.
    static func create(pageCount: Int, epochCapacity: Int, name: String) throws(SystemError) -> ImageStorage {
        let layout = ImageLayout(pageCount: pageCount)
        return try ImageStorage([
            try Memfd.create(name: "remusd-meta-\(name)", size: layout.metaSize),
            try Memfd.create(name: "remusd-memory-\(name)", size: layout.memorySize),
            try Memfd.create(name: "remusd-epoch-\(name)", size: epochCapacity),
        ])
    }

    /// Storage that a guardian kept.
    static func adopt(_ files: [Descriptor]) throws(SystemError) -> ImageStorage {
        guard files.count == 3 else {
            throw SystemError("adopt an image of \(files.count) memory files", code: EINVAL)
        }
        return try ImageStorage(files)
    }

    /// Bytes really backed by memory.
    var populatedBytes: UInt64 {
        files.reduce(0) { $0 + UInt64((try? Memfd.populatedBytes(of: $1)) ?? 0) }
    }

    /// Gives the epoch buffer's memory back: after an epoch that was much larger than usual.
    func trimEpochBuffer() {
        Memfd.discardContents(of: files[2], count: epochBuffer.count)
    }
}

/// An image together with its storage.
struct StoredImage {
    let storage: ImageStorage
    let image: StandbyImage
    /// The domain that it is kept in, if it is warm.
    var warm: WarmGuest?

    /// A new, empty one for the guest of `hello`.
    static func create(for hello: Hello, warm: WarmGuest? = nil) throws(SystemError) -> StoredImage {
        // Twice the guest and some state: rounds that went while the guest ran, and the checkpoint itself.
        let pages = hello.guest.pageCount
        let most = Staging.capacity(pages: 2 * pages, stateCapacity: 96 << 20)
        let capacity = Int(min(hello.epochCapacity, UInt64(most))) + (64 << 20)
        let storage = try ImageStorage.create(
            pageCount: pages,
            epochCapacity: (capacity + 4095) / 4096 * 4096,
            name: hello.guest.name
        )
        let image = StandbyImage(
            for: hello,
            meta: storage.meta,
            memory: storage.memory,
            epochBuffer: storage.epochBuffer,
            owner: storage
        )
        image.isWarm = warm != nil
        return StoredImage(storage: storage, image: image, warm: warm)
    }

    /// Brings the image to its sealed epoch, `epoch`.
    func apply(_ epoch: UInt64, progress: () -> Void) throws {
        guard image.isWarm else { return try image.applySealed(epoch, progress: progress) }
        guard let warm else { throw ImageError("its warm helper is not known") }
        try warm.feed(epoch, length: image.sealedLength, of: storage.files[2], progress: progress)
        image.noteApplied(epoch)
    }

    /// Ends what is outside this process, without waiting for it.
    func giveUp() { warm?.giveUp() }

    /// One that a guardian kept; a sealed epoch is applied if need be.
    static func adopt(_ files: [Descriptor]) throws -> StoredImage {
        let storage = try ImageStorage.adopt(files)
        let image = try StandbyImage(
            adopting: storage.meta,
            memory: storage.memory,
            epochBuffer: storage.epochBuffer,
            owner: storage
        )
        return StoredImage(storage: storage, image: image)
    }

    /// What the state machine knows of it.
    var facts: ImageFacts? {
        guard let epoch = image.epoch else { return nil }
        return ImageFacts(
            generation: image.generation,
            session: image.session,
            epoch: epoch,
            aloneAfter: image.aloneAfter,
            primaryHost: image.primaryHost,
            lastEchoedBeat: image.lastEchoedBeat,
            unacknowledged: image.unacknowledged,
            hasUnreplicatedDisk: image.hasUnreplicatedDisk
        )
    }
}

extension WarmGuest {
    /// Ends the domain, without waiting for it.
    func giveUp() {
        let thread = try? WorkerThread("drop") { self.drop() }
        thread?.detach()
    }
}

/// The storage of one guest's images, to be counted by anybody at any time.
final class ImageMemory: Sendable {
    private let storages = Mutex<(ImageStorage?, ImageStorage?)>((nil, nil))

    /// From now on these are the guest's.
    func count(_ image: ImageStorage?, _ incoming: ImageStorage?) {
        storages.withLock { $0 = (image, incoming) }
    }

    /// Bytes that they really use.
    var usedBytes: UInt64 {
        let (image, incoming) = storages.withLock { $0 }
        return (image?.populatedBytes ?? 0) + (incoming?.populatedBytes ?? 0)
    }
}
