import Testing
import XenHost

@Suite struct QMPClientTests {
    private static let greeting =
        #"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#
    private static let event = #"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#

    /// What comes of some lines, given in pieces of `size` bytes.
    private func outcomes(
        _ client: inout QMPClient,
        _ lines: [String],
        size: Int = .max
    ) throws(QMPError) -> [QMPClient.Outcome] {
        let bytes = Array(lines.map { $0 + "\r\n" }.joined().utf8)
        var outcomes: [QMPClient.Outcome] = []
        var next = 0
        while next < bytes.count {
            let end = size < bytes.count - next ? next + size : bytes.count
            try client.receive(bytes[next..<end]) { outcomes.append($0) }
            next = end
        }
        return outcomes
    }

    private func greeted() throws -> QMPClient {
        var client = QMPClient()
        #expect(try outcomes(&client, [Self.greeting]) == [.greeted(QEMUVersion(7, 2))])
        return client
    }

    @Test(arguments: [1, 2, 3, 7, 64, 10_000])
    func commandsAreAnsweredInOrderInPiecesOfAnySize(_ size: Int) throws {
        var client = QMPClient()
        #expect(client.expected == "its greeting")
        let lines = [client.send(.capabilities), client.send(.addDescriptor), client.send(.stop)]
        #expect(
            String(decoding: lines[0], as: UTF8.self) == "{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n"
        )
        let got = try outcomes(
            &client,
            [
                Self.greeting, Self.event, #"{"return": {}, "id": 1}"#, "", Self.event,
                #"{"return": {"fd": 11, "fdset-id": 0}, "id": 2}"#,
                #"{"id": 3, "error": {"class": "GenericError", "desc": "not now"}}"#, Self.event,
            ],
            size: size
        )
        #expect(
            got == [
                .greeted(QEMUVersion(7, 2)), .done(.capabilities, QMPReturn()),
                .done(.addDescriptor, QMPReturn(fdset: 0)), .refused(.stop, "not now"),
            ]
        )
        #expect(client.outstanding.isEmpty)
    }

    @Test func whatEachCommandSays() {
        var client = QMPClient()
        func text(_ command: QMPCommand) -> String { String(decoding: client.send(command), as: UTF8.self) }
        #expect(
            text(.logWrites(true)).contains(#""xen-set-global-dirty-log","id":1,"arguments":{"enable":true}"#)
        )
        #expect(text(.removeDescriptors(set: 4)).contains(#""remove-fd","id":2,"arguments":{"fdset-id":4}"#))
        #expect(
            text(.saveDevices(set: 0, knowsLive: true)).contains(#"{"filename":"/dev/fdset/0","live":false}"#)
        )
        #expect(text(.saveDevices(set: 9, knowsLive: false)).contains(#"{"filename":"/dev/fdset/9"}"#))
        #expect(client.expected == "its greeting")
    }

    @Test(arguments: [
        // Nothing but a greeting comes first, and only one.
        event, #"{"return": {}, "id": 1}"#, "hello",
    ])
    func whatIsNoGreeting(_ line: String) {
        var client = QMPClient()
        _ = client.send(.capabilities)
        #expect(throws: QMPError.garbled("its greeting")) { try outcomes(&client, [line]) }
    }

    @Test(arguments: [
        greeting, "nonsense", "{", "[]", "{}", "null", #"{"return": {}}"#, #"{"return": [], "id": 1}"#,
        #"{"return": {}, "id": 2}"#, #"{"return": {}, "id": 0}"#, #"{"return": {}, "id": "1"}"#,
        #"{"return": {}, "error": {"class": "x", "desc": "y"}, "id": 1}"#,
        #"{"error": {"class": "x"}, "id": 1}"#,
        #"{"error": {"class": "GenericError", "desc": "JSON parse error"}}"#,
        #"{"return": {"fdset-id": -1}, "id": 1}"#,
        #"{"return": {"fdset-id": 99999999999}, "id": 1}"#, "{\"return\": {}, \"id\": 1",
    ])
    func whatIsNoAnswer(_ line: String) throws {
        var client = try greeted()
        _ = client.send(.stop)
        #expect(throws: QMPError.garbled("an answer to stop")) { try outcomes(&client, [line]) }
    }

    @Test func nestingHasABound() throws {
        var client = try greeted()
        _ = client.send(.stop)
        let deep = String(repeating: "[", count: QMPClient.longestLine - 2)
        #expect(throws: QMPError.garbled("an answer to stop")) { try outcomes(&client, [deep]) }
    }

    @Test func anAnswerToNothing() throws {
        var client = try greeted()
        #expect(throws: QMPError.garbled("nothing")) { try outcomes(&client, [#"{"return": {}, "id": 1}"#]) }
    }

    @Test func aLineHasABound() throws {
        var client = try greeted()
        _ = client.send(.stop)
        let most = [UInt8](repeating: 0x20, count: QMPClient.longestLine)
        try client.receive(most) { _ in Issue.record("an outcome") }
        #expect(throws: QMPError.garbled("an answer to stop")) { try client.receive([0x20]) { _ in } }
    }
}
