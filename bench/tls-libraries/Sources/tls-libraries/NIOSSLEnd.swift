import NIOCore
import NIOPosix
import NIOSSL

/// swift-nio-ssl in its natural form: a channel on an event loop of its own, with the library's handler in its pipeline
/// and NIO's defaults for everything.
final class NIOSSLEnd: TLSLibrary {
    let suite: CipherSuite
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel

    init(socket: Int32, end: End, terms: Terms) throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let agreed = loop.makePromise(of: CipherSuite.self)
        let context = try NIOSSLContext(configuration: Self.configuration(for: end))
        channel = try ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let tls: NIOSSLHandler
                    let last: any ChannelHandler
                    switch end {
                    case .sending:
                        tls = try NIOSSLClientHandler(context: context, serverHostname: nil)
                        last = SendingHandler(terms, agreed)
                    case .receiving:
                        tls = NIOSSLServerHandler(context: context)
                        last = AnsweringHandler(agreed)
                    }
                    try channel.pipeline.syncOperations.addHandlers([HelloReader(), tls, last])
                }
            }
            .withConnectedSocket(socket)
            .wait()
        suite = try agreed.futureResult.wait()
    }

    /// As for OpenSSL: TLS 1.3, X25519, a certificate of the receiver's that nobody doubts.
    private static func configuration(for end: End) throws -> TLSConfiguration {
        var configuration: TLSConfiguration
        switch end {
        case .sending:
            configuration = .makeClientConfiguration()
            configuration.certificateVerification = .none
            configuration.verifySignatureAlgorithms = [.ed25519]
        case .receiving:
            let identity = try Identity()
            configuration = .makeServerConfiguration(
                certificateChain: [
                    .certificate(try NIOSSLCertificate(bytes: identity.certificate, format: .der))
                ],
                privateKey: .privateKey(try NIOSSLPrivateKey(bytes: identity.key, format: .der))
            )
        }
        configuration.minimumTLSVersion = .tlsv13
        configuration.curves = [.x25519]
        return configuration
    }

    func move(units: Int) throws { try channel.triggerUserOutboundEvent(MoveOrder(units: units)).wait() }

    func answer() throws { try channel.closeFuture.wait() }
}
