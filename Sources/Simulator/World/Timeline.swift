import Checkpoint

/// What will happen: by time, and of two at the same time the one that was planned first.
struct Timeline {
    private struct Entry {
        var at: Instant
        var number: UInt64
        var body: () -> Void

        func comes(before other: Entry) -> Bool {
            at != other.at ? at < other.at : number < other.number
        }
    }

    /// A binary heap.
    private var entries: [Entry] = []
    private var count: UInt64 = 0

    mutating func add(at time: Instant, _ body: @escaping () -> Void) {
        count += 1
        entries.append(Entry(at: time, number: count, body: body))
        var child = entries.count - 1
        while child > 0, entries[child].comes(before: entries[(child - 1) / 2]) {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func next() -> (at: Instant, body: () -> Void)? {
        guard let first = entries.first, let last = entries.popLast() else { return nil }
        if !entries.isEmpty {
            entries[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in 2 * parent + 1...2 * parent + 2
                where child < entries.count && entries[child].comes(before: entries[least]) {
                    least = child
                }
                if least == parent { break }
                entries.swapAt(parent, least)
                parent = least
            }
        }
        return (first.at, first.body)
    }
}
