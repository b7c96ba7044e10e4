import Testing
import XenHost

@Suite struct XenLibrariesTests {
    /// A machine without a Xen hypervisor may have the libraries or not: either way the answer names the library or is nil.
    @Test func loadsOrNamesWhatIsMissing() {
        if let reason = XenLibraries.whyNot { #expect(reason.contains("libxen")) }
    }
}
