. "$LIB"
for file in folder.h5 text.h5 empty.h5 cut.h5 nothing.h5 several.h5; do
    try $file out.h5
    try inspect $file
done
outputs
