import ArgumentParser
import Daemon
import SystemSupport
import Transport

/// How a connection between two hosts is protected.
struct LinkOptions: ParsableArguments {
    @Flag(
        help: "TLS with paired hosts on loopback too; over other addresses it is the default (remusd pair)."
    )
    var tls = false

    @Flag(
        help: """
            No TLS over an address that is not loopback, on both sides: guest memory can then be read, and changed, on the \
            way.
            """
    )
    var insecurePlaintext = false

    func validate() throws {
        if tls, insecurePlaintext {
            throw ValidationError("--tls and --insecure-plaintext: one of them.")
        }
    }

    /// What was asked for; nil where it goes by the address.
    var chosen: LinkMode? { insecurePlaintext ? .plaintext : tls ? .tls : nil }

    /// Whether a connection over `address` is plaintext: on loopback, or where somebody says so.
    func isPlaintext(_ address: SocketAddress) -> Bool { (chosen ?? LinkMode(for: address)) == .plaintext }

    /// What protects a connection over `address`, for one guest or for all.
    func security(_ address: SocketAddress, _ paths: Paths, guest: String? = nil) throws -> LinkSecurity {
        do {
            return try (chosen ?? LinkMode(for: address)).security(paths, guest: guest)
        } catch {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
    }
}
