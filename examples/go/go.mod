// The name that the generated code imports itself under.
module wit_component

go 1.27.1

require go.bytecodealliance.org/pkg v0.4.0

// The same version as the generator's, and from the same place: build.sh puts it there.
replace go.bytecodealliance.org/pkg => ./build/pkg
