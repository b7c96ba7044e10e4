import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// An etcd that shows a certificate and wants one.
@Suite(.timeLimit(.minutes(5)))
struct EtcdTLSTests {
    private let directory: TemporaryDirectory
    private let etcd: EtcdServer
    private let patience = TimeSpan.seconds(60)

    init() throws {
        Signals.ignore([SIGPIPE])
        let directory = try TemporaryDirectory()
        self.directory = directory
        for name in ["ca", "other"] {
            try Self.openssl(
                ["req", "-x509", "-subj", "/CN=\(name)", "-out", directory.file("\(name).pem")]
                    + Self.newKey(directory.file("\(name).key"))
            )
        }
        try directory.write("subjectAltName=IP:127.0.0.1\n", to: "names")
        for name in ["server", "client"] {
            try Self.openssl(
                ["req", "-subj", "/CN=\(name)", "-out", directory.file("\(name).csr")]
                    + Self.newKey(directory.file("\(name).key"))
            )
            try Self.openssl([
                "x509", "-req", "-days", "2", "-in", directory.file("\(name).csr"), "-CA",
                directory.file("ca.pem"), "-CAkey", directory.file("ca.key"), "-CAcreateserial", "-extfile",
                directory.file("names"), "-out", directory.file("\(name).pem"),
            ])
        }
        etcd = try EtcdServer(
            directory,
            tls: [
                "--client-cert-auth", "--trusted-ca-file", directory.file("ca.pem"), "--cert-file",
                directory.file("server.pem"), "--key-file", directory.file("server.key"),
            ]
        )
    }

    private static func newKey(_ path: String) -> [String] {
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path]
    }

    private static func openssl(_ arguments: [String]) throws {
        let quiet = Descriptor(owning: open("/dev/null", O_WRONLY | O_CLOEXEC))
        let pid = try ChildProcess.spawn("/usr/bin/openssl", arguments, inherited: [2: quiet])
        let end = ChildProcess.reap(pid)
        try #require(end == .exited(0), "openssl \(arguments.joined(separator: " "))")
    }

    private func check(_ query: String, host: String = "127.0.0.1") throws -> ArbiterCheck {
        let query = query.replacing("=", with: "=\(directory.path)/")
        let spec = try ArbiterSpec(parsing: "etcd:https://\(host):\(etcd.address.port)/test?\(query)")
        return ArbiterProbe.check(spec, deadline: patience)
    }

    @Test func bothSidesShowWhoTheyAre() throws {
        let right = try check("ca=ca.pem&cert=client.pem&key=client.key")
        #expect(right.outcome == .works, "\(right)")
        let refused = [
            try check("ca=ca.pem"),
            try check("ca=other.pem&cert=client.pem&key=client.key"),
            try check("ca=ca.pem&cert=other.pem&key=other.key"),
            try check("ca=ca.pem&cert=client.pem&key=missing.key"),
            // The certificate has no such name.
            try check("ca=ca.pem&cert=client.pem&key=client.key", host: "localhost"),
        ]
        for check in refused {
            #expect(check.outcome == .unavailable, "\(check)")
            #expect(check.steps.count == 1)
        }
    }
}
