import Checkpoint
import Logging
import Synchronization
import SystemSupport

/// Records in etcd, one key a guest: `PREFIX/UUID`. Never with a lease; what has one is refused, because it would go by itself.
struct EtcdStore: RecordStore {
    private let spec: EtcdSpec
    private let state = Shared()

    /// Which endpoint answered last, and a client that nobody uses just now.
    private final class Shared: Sendable {
        let preferred = Atomic<Int>(0)
        let idle = Mutex<HTTPSession?>(nil)
    }

    init(_ spec: EtcdSpec) {
        self.spec = spec
        // Now, not when a guest waits for a grant.
        if let missing = HTTPSession.prepare() {
            Logger(label: "arbiter").error("no etcd can be asked: \(missing)")
        }
    }

    var name: String { spec.name }

    func read(
        _ guest: GuestUUID,
        until deadline: UInt64
    ) throws(ArbiterError) -> StoredRecord<EtcdVersion?> {
        let answer = try range(guest, until: deadline)
        guard let found = answer.kvs?.first else { return StoredRecord(record: nil, version: nil) }
        guard answer.kvs?.count == 1, EtcdText.decode(found.key) == Array(key(guest).utf8),
            let revision = Int64(found.modRevision), let value = EtcdText.decode(found.value ?? "")
        else { throw ArbiterError("the answer for the key \(key(guest)) makes no sense") }
        guard (found.lease ?? "0") == "0" else {
            throw ArbiterError(
                "the key \(key(guest)) has a lease and will vanish: a grant is for ever. Write it anew without one, the same value"
            )
        }
        let record = try GrantDocument.decode(value, of: guest, in: "the key \(key(guest))")
        return StoredRecord(record: record, version: EtcdVersion(modRevision: revision, value: value))
    }

    func swap(
        _ guest: GuestUUID,
        from expected: StoredRecord<EtcdVersion?>,
        to record: GrantRecord,
        until deadline: UInt64
    ) throws(ArbiterError) -> Bool {
        try change(
            guest,
            from: expected.version,
            to: try GrantDocument.encode(record, of: guest),
            until: deadline
        )
    }

    /// A linearizable read found what a majority has on disk.
    func settle(_ guest: GuestUUID, on record: GrantRecord, until deadline: UInt64) {}

    func removeProbe(_ guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) {
        let found = try read(guest, until: deadline)
        guard let record = found.record, record.owner == ArbiterProbe.owner else { return }
        _ = try change(guest, from: found.version, to: nil, until: deadline)
    }

    func identity(until deadline: UInt64) throws(ArbiterError) -> String {
        "cluster \(try range(.random(), until: deadline).header.clusterID)"
    }

    private func range(_ guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) -> EtcdRangeAnswer {
        try atAnyEndpoint(deadline) { session, url, timeout throws(ArbiterError) in
            try post(EtcdRange(key: key(guest)), to: url + "/v3/kv/range", session, timeout)
        }
    }

    private func key(_ guest: GuestUUID) -> String { "\(spec.prefix)/\(guest)" }

    /// One transaction at one endpoint: when its answer is lost, nobody knows whether it was done.
    private func change(
        _ guest: GuestUUID,
        from expected: EtcdVersion?,
        to value: [UInt8]?,
        until deadline: UInt64
    ) throws(ArbiterError) -> Bool {
        let transaction = EtcdTransaction(key: key(guest), expected: expected, value: value)
        let answer: EtcdTransactionAnswer = try atEndpoint(0, deadline) {
            session,
            url,
            timeout throws(ArbiterError) in
            try post(transaction, to: url + "/v3/kv/txn", session, timeout)
        }
        return answer.succeeded ?? false
    }

    private typealias Request<R> = (HTTPSession, _ url: String, _ timeout: TimeSpan) throws(ArbiterError) -> R

    /// Asks one endpoint after the other, beginning with the one that answered last, until one gives an answer.
    private func atAnyEndpoint<R>(_ deadline: UInt64, _ request: Request<R>) throws(ArbiterError) -> R {
        var reasons: [String] = []
        for step in 0..<spec.endpoints.count {
            do throws(ArbiterError) {
                return try atEndpoint(step, deadline, request)
            } catch {
                reasons.append(error.description)
            }
        }
        throw ArbiterError(reasons.joined(separator: "; "))
    }

    /// Asks the endpoint that is tried after `step` others. It gets its share of the time that is left, and never all of
    /// it: somebody else is to be asked, or the same one again, when it does not answer.
    private func atEndpoint<R>(
        _ step: Int,
        _ deadline: UInt64,
        _ request: Request<R>
    ) throws(ArbiterError) -> R {
        let count = spec.endpoints.count
        let begin = state.preferred.load(ordering: .relaxed)
        // The preferred one moves on by itself with each failure.
        let index = begin % count
        let url = spec.endpoints[index].description
        let now = Clock.monotonic
        guard now + 1_000_000 < deadline else { throw ArbiterError("\(url): no time is left to ask it") }
        let share = TimeSpan(nanoseconds: (deadline - now) / UInt64(max(count - step, 2)))
        do {
            let session = try state.idle.withLock { exchange(&$0, with: nil) } ?? HTTPSession(spec)
            let answer = try request(session, url, share)
            state.idle.withLock { $0 = session }
            return answer
        } catch {
            _ = state.preferred.compareExchange(
                expected: begin,
                desired: (index + 1) % count,
                ordering: .relaxed
            )
            throw ArbiterError("\(url): \(error)")
        }
    }

    private func post<Answer: Decodable>(
        _ request: some Encodable,
        to url: String,
        _ session: HTTPSession,
        _ timeout: TimeSpan
    ) throws(ArbiterError) -> Answer {
        let status: Int
        let body: [UInt8]
        do {
            (status, body) = try session.post(url, try ControlJSON.encode(request), timeout: timeout)
        } catch {
            throw ArbiterError("\(error)")
        }
        guard status == 200 else {
            let error = try? ControlJSON.decode(EtcdError.self, from: body)
            let words = error?.message ?? error?.error ?? "no reason given; is this etcd 3.4 or newer?"
            throw ArbiterError("HTTP \(status): \(words.prefix(200))")
        }
        do {
            return try ControlJSON.decode(Answer.self, from: body)
        } catch {
            throw ArbiterError("this is not etcd's answer: \(error.shortDescription)")
        }
    }
}
