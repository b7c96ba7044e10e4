import Checkpoint
import SystemSupport

/// What a record is written for.
enum WriteClass: String, CaseIterable {
    case protectBegins, generationRises, aloneAfterShrinks, outdated, wish
    case dropped, image, crashed, activated, standbyWish
}

/// A step of a durable replacement, and what can go wrong in it.
enum DiskStep: Int, CaseIterable { case create, write, sync, rename, syncDirectory }

enum DiskTrouble: Int, CaseIterable { case fails, processDies, powerLoss }

/// A host's disk. Processes see what was written; a loss of power leaves what was synced, and of the rest any part.
final class SimulatedDisk: ReplaceableFiles {
    final class File {
        var bytes: [UInt8] = []
        /// So many of them are durable.
        var synced = 0
    }

    private unowned let host: Host
    /// As processes see it; and as it was after each change since the names were synced last.
    private var names: [String: File] = [:]
    private var durable: [String: File] = [:]
    private var unsynced: [[String: File]] = []
    /// What goes wrong in the next replacement of its class.
    var armed: (what: WriteClass, step: DiskStep, trouble: DiskTrouble)?
    private var current: (what: WriteClass, process: Process)?

    init(of host: Host) { self.host = host }

    func read(_ path: String) -> [UInt8]? { names[path]?.bytes }

    /// What is there after a loss of power, whatever that does to what is not synced; nil if that is not certain.
    func certain(_ path: String) -> [UInt8]? {
        guard unsynced.isEmpty, let file = durable[path], file.synced == file.bytes.count else { return nil }
        return file.bytes
    }

    /// Replaces a record durably, by the product's own way.
    /// - Returns: false if that failed, or ended the process.
    func store(_ bytes: [UInt8], at path: String, for what: WriteClass, by process: Process) -> Bool {
        current = (what, process)
        defer { current = nil }
        let isDone = (try? SmallFile.replace(path, with: bytes, on: self)) != nil
        if isDone { host.world.coverage.written(what) }
        return isDone && process.isAlive
    }

    func losePower() {
        // Names change in order; any number of the changes may have reached the disk.
        let states = [durable] + unsynced
        names = states.randomElement(using: &host.world.dice) ?? durable
        // In an order of their own: a dictionary's is another one in each process.
        for (_, file) in names.sorted(by: { $0.key < $1.key }) {
            let count = Int.random(in: file.synced...file.bytes.count, using: &host.world.dice)
            file.bytes.removeSubrange(count...)
            file.synced = count
        }
        durable = names
        unsynced = []
    }

    // MARK: Steps

    func create(_ path: String, mode: UInt32) throws(SystemError) -> File {
        let file = File()
        try take(.create) {
            names[path] = file
            unsynced.append(names)
        }
        return file
    }

    func write(_ bytes: ArraySlice<UInt8>, to file: File) throws(SystemError) -> Int {
        var count = bytes.count
        if let armed, armed.step == .write, armed.what == current?.what {
            // At any byte.
            count = Int.random(in: 0...count, using: &host.world.dice)
        }
        try take(.write) { file.bytes += bytes.prefix(count) }
        return count
    }

    func sync(_ file: File) throws(SystemError) { try take(.sync) { file.synced = file.bytes.count } }

    func rename(_ aside: String, to path: String) throws(SystemError) {
        try take(.rename) {
            names[path] = names.removeValue(forKey: aside)
            unsynced.append(names)
        }
    }

    func syncDirectory(of path: String) throws(SystemError) {
        try take(.syncDirectory) {
            durable = names
            unsynced = []
        }
    }

    /// Takes one step; what fails may have been done all the same.
    private func take(_ step: DiskStep, _ body: () -> Void) throws(SystemError) {
        guard let armed, let current, armed.what == current.what, armed.step == step else { return body() }
        self.armed = nil
        if step == .write || host.world.chance(2) { body() }
        host.world.coverage.troubled(armed)
        host.world.note { "\(armed.trouble) in \(step) of the record '\(armed.what)' on \(self.host.name)" }
        switch armed.trouble {
        case .fails: break
        case .processDies: current.process.die()
        case .powerLoss: host.losePower()
        }
        throw SystemError("write", code: 5)
    }
}
