/// Compares what clients were told with what the guest knows.
struct DemoAudit: Sendable {
    /// What the guest knows, asked for after everything.
    struct Findings: Sendable {
        /// By connection, then key: the value, nil if there is none.
        var values: [[[UInt8]?]] = []
        /// The counters' values.
        var counters: [Int64] = []
        /// DBSIZE.
        var size: Int64 = 0
    }

    /// Acknowledged writes that are not there, or are not what was acknowledged.
    private(set) var lost = 0
    /// Everything else that may not be.
    private(set) var problems: [String] = []

    init(_ ledgers: [DemoLedger], _ found: Findings) {
        for (ledger, values) in zip(ledgers, found.values) { check(ledger, values) }
        for index in 0..<DemoLedger.counters { check(counter: index, ledgers, found.counters[index]) }
        let keys = ledgers.reduce(0) { $0 + $1.sets.count } + DemoLedger.counters
        if found.size > Int64(keys) {
            note("the guest has \(found.size) keys, more than the \(keys) ever sent")
        }
        for ledger in ledgers { problems += ledger.problems }
    }

    private mutating func check(_ ledger: DemoLedger, _ values: [[UInt8]?]) {
        for (n, acknowledged) in ledger.sets.enumerated() {
            let right = values[n].map { $0 == Array(ledger.value(n).utf8) }
            if acknowledged, right != true {
                lost += 1
                note(
                    "\(ledger.key(n)) was acknowledged and \(right == nil ? "is not there" : "has another value")"
                )
            } else if right == false {
                note("\(ledger.key(n)) has a value that was never sent")
            }
        }
    }

    private mutating func check(counter: Int, _ ledgers: [DemoLedger], _ value: Int64) {
        let name = DemoLedger.counter(counter)
        let answers = ledgers.flatMap { $0.answers[counter] }.sorted()
        let highest = answers.last ?? 0
        if value < highest {
            lost += Int(highest - value)
            note("\(name) is \(value), and clients were told \(highest)")
        }
        // An answer given twice: the increment behind the first one was lost and made again.
        let repeated = zip(answers, answers.dropFirst()).count { $0 == $1 }
        if repeated > 0 {
            lost += repeated
            note("\(name): \(repeated) answers were given twice")
        }
        let sent = ledgers.reduce(0) { $0 + $1.increments[counter] }
        if value > Int64(sent) { note("\(name) is \(value), past the \(sent) increments ever sent") }
    }

    private mutating func note(_ problem: String) {
        if problems.count < 20 { problems.append(problem) }
    }
}
