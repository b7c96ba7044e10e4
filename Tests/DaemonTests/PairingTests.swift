import Checkpoint
import Glibc
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// Two hosts that have never met, and somebody between them.
@Suite(.timeLimit(.minutes(1))) struct PairingTests {
    private static func key(_ host: String) throws -> HostKey {
        let now = Int64(Clock.wall / 1_000_000_000)
        return try HostKey(newFor: host, validIn: now - 60...now + 86_400)
    }

    /// Pairs over one end of a connection, on a thread of its own; yes on both sides, if `accepts`.
    private static func side(
        _ socket: Descriptor,
        _ host: String,
        _ key: HostKey,
        connecting: Bool,
        accepts: Bool = true
    ) -> Background<(host: HostName, pin: KeyPin, code: String, agreed: Bool)> {
        Background {
            let pairing = try Pairing(
                over: socket,
                key: key,
                ownHost: HostName(host),
                connecting: connecting
            )
            let agreed = try pairing.settle(accepted: accepts, patience: 5_000_000_000)
            return (pairing.host, pairing.pin, pairing.code, agreed)
        }
    }

    @Test func bothSidesSeeTheOtherAndTheSameCode() throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let (alpha, beta) = (try Self.key("alpha"), try Self.key("beta"))
        let one = Self.side(near, "alpha", alpha, connecting: true)
        let two = try Self.side(far, "beta", beta, connecting: false).value()
        let first = try one.value()
        #expect(first.host.text == "beta" && first.pin == beta.pin && first.agreed)
        #expect(two.host.text == "alpha" && two.pin == alpha.pin && two.agreed)
        #expect(first.code == two.code && first.code.count == 9)
    }

    @Test func oneNoIsANoForBoth() throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let one = Self.side(near, "alpha", try Self.key("alpha"), connecting: true)
        let two = Self.side(far, "beta", try Self.key("beta"), connecting: false, accepts: false)
        // The one that said yes hears the no, or that the other has gone.
        #expect((try? one.value())?.agreed != true)
        #expect(try !two.value().agreed)
    }

    @Test func somebodyInTheMiddleGetsAnotherCode() throws {
        let (alphaEnd, toAlpha) = try UnixSocket.pairOfStreams()
        let (betaEnd, toBeta) = try UnixSocket.pairOfStreams()
        let mallory = try Self.key("mallory")
        let alpha = Self.side(alphaEnd, "alpha", try Self.key("alpha"), connecting: true)
        let beta = Self.side(betaEnd, "beta", try Self.key("beta"), connecting: false)
        let asBeta = Self.side(toAlpha, "beta", mallory, connecting: false)
        let asAlpha = Self.side(toBeta, "alpha", mallory, connecting: true)
        let (shownAtAlpha, shownAtBeta) = (try alpha.value(), try beta.value())
        _ = (try asBeta.value(), try asAlpha.value())
        #expect(shownAtAlpha.host.text == "beta" && shownAtBeta.host.text == "alpha")
        #expect(shownAtAlpha.pin == mallory.pin && shownAtBeta.pin == mallory.pin)
        #expect(shownAtAlpha.code != shownAtBeta.code)
    }

    /// A connecting side that speaks by hand: says `commitment`, hears the other's nonce, then shows a part.
    private static func connectByHand(
        _ socket: Descriptor,
        _ key: HostKey,
        commitment: String,
        nonce: String
    ) throws {
        let channel = try LinkSecurity.tls(try TLSContext(key: key) { _ in .known(host: "") })
            .channel(over: socket, accepting: false)
        while try !channel.handshake() { _ = Poll.wait(socket.raw, milliseconds: 1000) }
        func say(_ text: String) throws {
            let bytes = withUnsafeBytes(of: UInt32(text.utf8.count).littleEndian) { Array($0) } + text.utf8
            _ = try bytes.withUnsafeBytes { try channel.sendNow($0) }
        }
        try say(#"{"commitment":"\#(commitment)"}"#)
        var answer = [UInt8](repeating: 0, count: 4096)
        while try answer.withUnsafeMutableBytes({ try channel.receiveNow(into: $0) }) == nil {
            _ = channel.waitReadable(milliseconds: 1000)
        }
        try say(#"{"host":"alpha","nonce":"\#(nonce)"}"#)
        _ = channel.waitReadable(milliseconds: 5000)
    }

    @Test(arguments: [true, false])
    func aNonceThatWasChosenLaterIsRefused(_ keepsToIt: Bool) throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let mallory = try Self.key("alpha")
        let nonce = [UInt8](repeating: 7, count: 32)
        let part = PairingPart(pin: mallory.pin, host: try HostName("alpha"), nonce: nonce)
        let commitment = Hex.text(try part.commitment())
        let shown = Hex.text(keepsToIt ? nonce : [8] + nonce.dropFirst())
        let hand = Background { try Self.connectByHand(near, mallory, commitment: commitment, nonce: shown) }
        let key = try Self.key("beta")
        let host = try HostName("beta")
        if keepsToIt {
            let pairing = try Pairing(over: far, key: key, ownHost: host, connecting: false)
            #expect(pairing.host.text == "alpha")
            #expect(throws: (any Error).self) { try pairing.settle(accepted: true, patience: 1_000_000) }
        } else {
            #expect(throws: PairingError.self) {
                try Pairing(over: far, key: key, ownHost: host, connecting: false)
            }
        }
        far.shutDown()
        try hand.value()
    }

    @Test func whoSpeaksOtherwiseIsRefused() throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        try UnixSocket.send(Array("GET / HTTP/1.1\r\n\r\n".utf8), over: near)
        #expect(throws: ConnectionError.self) {
            try Pairing(over: far, key: Self.key("beta"), ownHost: HostName("beta"), connecting: false)
        }
        let key = try Self.key("beta")
        let (one, two) = try UnixSocket.pairOfStreams()
        let own = Background {
            try Pairing(over: one, key: key, ownHost: HostName("a"), connecting: true).code
        }
        #expect(throws: PairingError.self) {
            try Pairing(over: two, key: key, ownHost: HostName("beta"), connecting: false)
        }
        two.shutDown()
        #expect(throws: (any Error).self) { try own.value() }
    }
}
