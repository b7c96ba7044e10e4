import Glibc

@main
enum Program {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            if arguments.first == EndProcess.command {
                try EndProcess.run(Array(arguments.dropFirst()))
            } else if let options = Options(arguments) {
                try Comparison(options).run()
            } else {
                print(Options.usage)
                exit(arguments.contains("--help") ? 0 : 64)
            }
        } catch {
            say("tls-libraries: \(error)\n")
            exit(1)
        }
    }

    private static func say(_ text: String) {
        var text = text
        text.withUTF8 { bytes in _ = write(2, bytes.baseAddress, bytes.count) }
    }
}

/// What the command line says.
struct Options {
    static let usage = """
        Measures swift-nio-ssl beside OpenSSL 3: what each moves under TLS 1.3 between two processes, and at what cost.
        Usage: tls-libraries [--rounds N] [--seconds S] [--write BYTES]
          --rounds   turns of each library and cipher suite (15)
          --seconds  how long a turn is, about (1)
          --write    bytes given to the library at a time (1048576)
        """

    private(set) var rounds = 15
    private(set) var seconds = 1.0
    private(set) var writeSize = 1 << 20

    /// Nil for arguments that are not understood.
    init?(_ arguments: [String]) {
        var left = arguments[...]
        while let name = left.popFirst() {
            guard let value = left.popFirst() else { return nil }
            switch name {
            case "--rounds":
                guard let number = Int(value), (1...1000).contains(number) else { return nil }
                rounds = number
            case "--seconds":
                guard let number = Double(value), (0.1...30).contains(number) else { return nil }
                seconds = number
            case "--write":
                guard let number = Int(value), (1...64 << 20).contains(number) else { return nil }
                writeSize = number
            default: return nil
            }
        }
    }
}
