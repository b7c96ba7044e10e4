import SystemSupport

/// How much of a process is in memory.
enum ResidentMemory {
    /// Bytes of this process, what it shares with others included, counted page by page: unlike VmRSS, this is exact (proc(5),
    /// /proc/PID/smaps_rollup).
    static func own() throws -> Int {
        let path = "/proc/self/smaps_rollup"
        guard let text = SmallFile.read(path), let bytes = bytes(in: text) else {
            throw BenchError("\(path) does not say how much memory is used")
        }
        return bytes
    }

    static func bytes(in text: String) -> Int? {
        let words = MachineDescription.field("Rss", in: text)?.split(separator: " ") ?? []
        guard words.count == 2, words[1] == "kB" else { return nil }
        return Int(words[0]).map { $0 * 1024 }
    }
}
