import Checkpoint
import Glibc
import SystemSupport

/// Keeps a host that boots from starting guests that may run elsewhere: fills the folder from which xendomains starts
/// guests with those of /etc/xen/auto that this host may start, and takes away what it saved of any that remusd knows: a
/// guest saved when its host was shut down has been activated elsewhere, or ran on, since.
package struct BootGuard: Sendable {
    /// One configuration of the folder.
    package struct Entry: Equatable, Sendable {
        package var file: String
        /// The guest's name, or what should be one.
        package var guest: String
        package var starts: Bool
        package var reason: String
        /// What xendomains saved of it could not be moved away.
        package var staysSaved = false
    }

    private let paths: Paths
    /// Where the configurations lie that are to be started at boot.
    private let source: String
    /// Where xendomains looks.
    private let target: String
    /// Where xendomains restores guests from, each a file of its name.
    private let saved: String
    /// The name that a configuration gives its guest.
    private let nameOf: @Sendable (String) throws -> String

    package init(
        _ paths: Paths,
        from source: String,
        to target: String,
        saved: String,
        nameOf: @escaping @Sendable (String) throws -> String
    ) {
        self.paths = paths
        self.source = source
        self.target = target
        self.saved = saved
        self.nameOf = nameOf
    }

    /// Links what may be started, once the other hosts were asked. One that is silent is asked again for `patience`; then the
    /// guest's arbiter is, if it has one that decides.
    /// - Returns: what was saved and could not be held, and every configuration of the folder, in order of their names.
    package func run(patience: TimeSpan) throws -> [Entry] {
        // First, whatever fails then.
        var entries = Self.hold(SmallFile.names(in: saved).filter(mayBeKnown), of: saved)
        try SmallFile.makeDirectories(target)
        for file in SmallFile.visibleNames(in: target) { unlink("\(target)/\(file)") }
        let deadline = Clock.monotonic + patience.nanoseconds
        for file in SmallFile.visibleNames(in: source) {
            let entry = judge(file, until: deadline)
            if entry.starts, symlink("\(source)/\(file)", "\(target)/\(file)") != 0 {
                throw SystemError("link \(target)/\(file)")
            }
            entries.append(entry)
        }
        return entries
    }

    private func judge(_ file: String, until deadline: UInt64) -> Entry {
        let stem = file.split(separator: ".").first.map(String.init) ?? file
        let guest: String
        do {
            guest = try nameOf("\(source)/\(file)")
        } catch {
            // It may be of any guest.
            return Entry(file: file, guest: stem, starts: false, reason: "xl cannot read it: \(error)")
        }
        func entry(_ starts: Bool, _ reason: String) -> Entry {
            Entry(file: file, guest: guest, starts: starts, reason: reason)
        }
        do {
            while true {
                guard let start = try GuestStart(try GuestName(guest), paths) else {
                    return entry(true, "remusd does not know it")
                }
                let answer = try start.decide(GuestStart.Order())
                if case .start(let generation) = answer.decision {
                    try start.record(generation, GuestStart.Order())
                    return entry(true, answer.text)
                }
                let mayChange: Bool =
                    switch answer.decision {
                    case .peerSilent, .peerNotAsked(passes: true), .tooSoon: true
                    default: false
                    }
                if mayChange, Clock.monotonic < deadline {
                    usleep(1_000_000)
                    continue
                }
                guard let generation = start.generationToAskFor(answer, GuestStart.Order()) else {
                    return entry(false, answer.text)
                }
                try start.record(generation, GuestStart.Order())
                return entry(true, "the other host is silent, and the arbiter granted the start to this one")
            }
        } catch {
            // In doubt it is not started; the others are.
            return entry(false, "\(error)")
        }
    }

    /// Holds all that xendomains saved: where the records cannot be reached, nobody can tell whose guests it is of.
    /// - Returns: what could not be held.
    package static func holdAll(saved: String) -> [Entry] {
        let files = SmallFile.visibleNames(in: saved).filter { name in
            var info = stat()
            return stat("\(saved)/\(name)", &info) == 0 && info.st_mode & S_IFMT == S_IFREG
        }
        return hold(files, of: saved)
    }

    /// xendomains restores each file of its folder, whatever is to be started at boot, and no folder in it.
    private static func hold(_ files: [String], of saved: String) -> [Entry] {
        let held = "\(saved)/held-by-remusd"
        return files.sorted().compactMap { file in
            do throws(SystemError) {
                try SmallFile.makeDirectories(held)
                guard rename("\(saved)/\(file)", "\(held)/\(file)") == 0 else {
                    throw SystemError("move \(saved)/\(file) to \(held)")
                }
                return nil
            } catch {
                let reason = "\(error): xendomains may restore what it saved of it; move that away by hand"
                return Entry(file: file, guest: file, starts: false, reason: reason, staysSaved: true)
            }
        }
    }

    /// Whether remusd knows a guest of this name; in doubt it does.
    private func mayBeKnown(_ name: String) -> Bool {
        guard let guest = try? GuestName(name) else { return false }
        do {
            return try GuestStart(guest, paths) != nil
        } catch {
            return true
        }
    }
}
