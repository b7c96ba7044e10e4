import CXen

/// Xen's libraries in this process.
package enum XenLibraries {
    /// Why they cannot be used here, in words for an operator; nil if they can.
    package static var whyNot: String? { CXen_load().map { String(cString: $0) } }
}
