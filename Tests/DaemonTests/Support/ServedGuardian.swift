import SystemSupport

@testable import Daemon

extension GuardianClient {
    /// A client of a guardian of this test's own, which ends by itself, ten seconds after its last client.
    static func served(at path: String) throws -> GuardianClient {
        try Guardian.serve(at: path)
        return try GuardianClient(path: path)
    }
}

extension Guardian {
    /// Begins one on a thread of its own, and waits until it answers.
    static func serve(at path: String) throws {
        let isServing = Monitor(false)
        let thread = try WorkerThread("guardian") {
            let guardian = try? Guardian(path: path)
            guardian?.run { isServing.signal { $0 = true } }
        }
        thread.detach()
        _ = isServing.wait(until: Clock.monotonic + 10_000_000_000) { $0 ? true : nil }
    }
}
