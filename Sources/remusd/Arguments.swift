import ArgumentParser
import Checkpoint
import Daemon
import SystemSupport

// Each type comes in two forms. As an `ExpressibleByArgument` it can be an option with a default. The parser then only
// says *that* a value is wrong; `@Option(transform: T.argument)` lets the value's own error say what a right one is.

extension ByteSize: ExpressibleByArgument {
    package init?(argument: String) { try? self.init(parsing: argument) }
    static func argument(_ text: String) throws -> ByteSize { try ByteSize(parsing: text) }
}

extension TimeSpan: ExpressibleByArgument {
    package init?(argument: String) { try? self.init(parsing: argument) }
    static func argument(_ text: String) throws -> TimeSpan { try TimeSpan(parsing: text) }
}

extension GuestName: ExpressibleByArgument {
    package init?(argument: String) { try? self.init(argument) }
    static func argument(_ text: String) throws -> GuestName { try GuestName(text) }
}

extension SocketAddress: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
    static func argument(_ text: String) throws -> SocketAddress {
        guard let address = SocketAddress(text) else {
            throw ValueError(
                kind: "HOST:PORT address",
                text: text,
                rightForm: "write it like 127.0.0.1:7070, standby.example:7070 or [::1]:7070"
            )
        }
        return address
    }
}

/// `--output`: for people, or for programs.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case text, json
}

extension ArbiterSpec: ExpressibleByArgument {
    package init?(argument: String) { try? self.init(parsing: argument) }
    static func argument(_ text: String) throws -> ArbiterSpec { try ArbiterSpec(parsing: text) }
}

extension IntervalChoice: ExpressibleByArgument {
    package init?(argument: String) { try? self.init(parsing: argument) }
    static func argument(_ text: String) throws -> IntervalChoice { try IntervalChoice(parsing: text) }
}

extension WaitGoal: ExpressibleByArgument {}
extension EngineChoice: ExpressibleByArgument {}
extension EncodingChoice: ExpressibleByArgument {}
