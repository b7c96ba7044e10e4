import CMachine
import COpenSSL
import Glibc

/// All lanes, in turns: what disturbs one of them disturbs the others.
struct Comparison {
    private let options: Options
    private var lanes: [Lane] = []
    private let processors: (sender: Int32, receiver: Int32)

    init(_ options: Options) throws {
        self.options = options
        processors = (machine_processor(0), machine_processor(1))
        guard processors.receiver >= 0 else { throw Failure("needs two processors") }
        for suite in [CipherSuite.aes128, .chacha20] {
            for library in Library.allCases {
                let terms = Terms(suite: suite, writeSize: options.writeSize)
                let lane = Lane(library, terms, processors: processors)
                if try lane.isAgreed() {
                    lanes.append(lane)
                } else {
                    print("\(library.rawValue) does not take \(suite.name) here: left out")
                }
            }
        }
    }

    func run() throws {
        printHead()
        for lane in lanes { try lane.prepare(seconds: options.seconds) }
        for round in 0..<options.rounds {
            for place in lanes.indices { try lanes[(place + round) % lanes.count].takeTurn() }
        }
        printTable()
        printRatios()
    }

    private func printHead() {
        var load = [0.0]
        getloadavg(&load, 1)
        let turn = fixed(options.seconds, 1)
        print("TLS 1.3 over TCP loopback, from a process on processor \(processors.sender)")
        print("to one on processor \(processors.receiver); \(options.writeSize) bytes a write;")
        print("\(options.rounds) turns of about \(turn) s for each, one after the other.")
        print("\(String(cString: OpenSSL_version(OPENSSL_VERSION))); load \(fixed(load[0], 2))\n")
    }

    private func printTable() {
        let (name, suite) = (14, 29)
        print(
            "library".padded(name) + "cipher suite".padded(suite)
                + ["MB/s p10", "p50", "cpu s/GB sender", "receiver", "both"].map { $0.aligned(16) }.joined()
        )
        for lane in lanes {
            let rates = Quantiles(lane.turns.map(\.rate), moreIsBetter: true)
            let (sender, receiver) = (cost(lane, \.sender), cost(lane, \.receiver))
            let figures = [
                fixed(rates.p10, 0), fixed(rates.p50, 0), fixed(sender, 3), fixed(receiver, 3),
                fixed(sender + receiver, 3),
            ]
            print(
                lane.library.rawValue.padded(name) + lane.terms.suite.name.padded(suite)
                    + figures.map { $0.aligned(16) }.joined()
            )
        }
        print("")
    }

    /// OpenSSL's figures over swift-nio-ssl's.
    private func printRatios() {
        for ours in lanes where ours.library == .openSSL {
            guard
                let other = lanes.first(where: {
                    $0.library == .nioSSL && $0.terms.suite == ours.terms.suite
                })
            else { continue }
            let rates = [ours, other].map { Quantiles($0.turns.map(\.rate), moreIsBetter: true) }
            let each = zip(ours.turns, other.turns).map { $0.rate / $1.rate }.sorted()
            let costs = [ours, other].map { cost($0, \.sender) + cost($0, \.receiver) }
            print("OpenSSL beside swift-nio-ssl, \(ours.terms.suite.name):")
            print(
                "    \(fixed(rates[0].p10 / rates[1].p10, 2)) x the bytes at p10,"
                    + " \(fixed(rates[0].p50 / rates[1].p50, 2)) x at p50;"
                    + " \(fixed(each[0], 2)) to \(fixed(each[each.count - 1], 2)) x in single rounds;"
                    + " \(fixed(costs[0] / costs[1], 2)) x the cpu"
            )
        }
    }

    private func cost(_ lane: Lane, _ side: KeyPath<Turn, Double>) -> Double {
        Quantiles(lane.turns.map { $0.cost(side) }, moreIsBetter: false).p50
    }
}
