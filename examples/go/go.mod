// The name that the generated code imports itself under.
module wit_component

go 1.27.1

require go.bytecodealliance.org/pkg v0.4.0

// Of the version that `plinth plugin build` generates for.
replace go.bytecodealliance.org/pkg => ../../host/templates/go/third_party/pkg
