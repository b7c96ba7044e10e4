import Checkpoint
import SystemSupport
import Transport

/// What an engine needs besides the guest and its output.
package struct ProtectOptions: Sendable {
    package let standby: SocketAddress
    /// Where that is, in numbers.
    package let address: StandbyAddress
    /// How the connection to it is protected.
    package var security = LinkSecurity.plaintext
    /// The other side is the xl of that host, which has no remusd.
    package var xlPeer: XlPeerOptions?
    /// Makes the connection in place of `address`: over a socket that is no TCP.
    package var connect: (@Sendable () throws(SystemError) -> PrimaryConnection)?
    package var settings = ProtectSettings()
    /// Most pages of one checkpoint that are copied at once; nil for all of the guest.
    package var stagingPages: Int?
    /// Writable disks that the operator accepts to be without protection, by name (`xvda`).
    package var unreplicatedDisks: [String] = [] {
        didSet { settings.hasUnreplicatedDisk = !unreplicatedDisks.isEmpty }
    }
    /// Who reads a Xen guest's memory and state.
    package var engine = EngineChoice.native
    /// What the engine's thread has before others.
    package var thread = EngineThread()
    /// How pages are sent.
    package var encoding = EncodingChoice.lz4
    /// Who grants generations; nil: nobody is asked.
    package var arbiter: (any Arbiter)? {
        didSet { settings.arbitration = arbiter.map { .arbiter(decides: $0.decides) } ?? .preferPrimary }
    }
    /// The generation of the arbiter's record, whose owner somebody vouches for: the guest is over there.
    package var ifGeneration: UInt64?
    /// The operator's programs that are told what happens.
    package var hooks = HookOptions()
    /// A file that gets every byte of the stream.
    package var tee: String?

    /// - Parameter lookUp: finds the addresses of a name, and may take its time.
    package init(standby: SocketAddress, lookUp: @escaping StandbyAddress.LookUp = TCP.addresses) {
        self.standby = standby
        address = StandbyAddress(standby, lookUp: lookUp)
    }

    /// What both sides compare.
    package var arbiterChoice: ArbiterChoice? { arbiter.map { ArbiterChoice($0) } }

    /// Begins to connect to the other side.
    func makeConnection() throws(SystemError) -> PrimaryConnection {
        if let xlPeer { return try xlPeer.connect() }
        if let connect { return try connect() }
        return try PrimaryConnection(connectingTo: try address.next(), security: security)
    }
}
